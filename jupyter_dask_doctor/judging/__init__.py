"""What several rules ask of the facts: which run of a cell counts, how threads were used, what is to come."""
