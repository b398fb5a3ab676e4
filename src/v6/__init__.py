"""v6: market data from Interactive Brokers through one queue."""
