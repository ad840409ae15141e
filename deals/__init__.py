"""The canonical deal, as values only: state, money, identity, events and the difference between two states."""
