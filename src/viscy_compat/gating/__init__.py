"""What must hold before a release: stages that each look at every class, waivers, and one verdict."""
