"""The study of hierarchies: what each level of a model holds."""
