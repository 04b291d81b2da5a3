"""The pages: their code runs, and what they say of the code is so."""
