"""The migrated VisCy models: pure ``nn.Module`` classes with the state-dict keys and the numbers of the old ones."""
