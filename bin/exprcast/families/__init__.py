"""Model families, one a file; the contract is in exprcast/family.py."""
