"""What the performance table is made by: one page server, the contenders beside each other, one report."""
