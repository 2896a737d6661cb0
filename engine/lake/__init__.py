"""The lake: transactions checked, typed and bucketed by customer in a Delta table, each source file once."""
