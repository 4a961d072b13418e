"""Two sides, compared: layouts, constructors, numbers, modules. Answers become failures, as data; nothing is run here."""
