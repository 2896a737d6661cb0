"""From transactions to one row per customer, and from there to the matrix that is clustered."""
