"""Plans: how one layout becomes another, without a tensor left over."""
