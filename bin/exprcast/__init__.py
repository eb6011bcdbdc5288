"""What the scripts in bin/ share; each module says what it is for in its first line."""
