"""Where updates come from: files of every format, frames, queries, and stages by their names."""
