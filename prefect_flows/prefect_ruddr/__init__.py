"""Change Ruddr opportunity stages from Prefect pipelines."""

import lazy_loader

__version__ = "0.1.0"

# The names are those of `__init__.pyi`. Each is loaded when it is first used: the sandbox needs
# no Prefect, and who takes one task does not wait for the flows.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
