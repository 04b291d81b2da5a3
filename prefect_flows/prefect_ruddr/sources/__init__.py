"""Files, queries and frames to rows that know their place."""
