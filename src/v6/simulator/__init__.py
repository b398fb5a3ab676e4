"""A gateway that is not IB's: a TCP server that speaks its wire protocol over a market made from real history."""
