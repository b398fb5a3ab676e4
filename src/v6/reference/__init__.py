"""The generated parts of docs/: commands, request types, events and tables, as the code has them."""
