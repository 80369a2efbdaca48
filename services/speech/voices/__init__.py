"""The voices that speak, of which tenants may make their own."""
