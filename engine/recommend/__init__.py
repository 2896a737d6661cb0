"""What to offer next: to each customer in person, and to all customers of a segment."""
