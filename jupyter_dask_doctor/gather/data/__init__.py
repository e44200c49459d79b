"""What the notebook's collections are made of: columns, chunks, sizes, steps, tasks; nothing is computed for it."""
