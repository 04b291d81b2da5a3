"""Plans, the judging before them and the accounts after them: pure."""
