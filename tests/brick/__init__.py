"""The storage library beyond the contract of a driver."""
