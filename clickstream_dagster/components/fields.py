"""How fields of a project's YAML are described."""

import dagster as dg

# In a derived model, a description of a field with a default is kept only by its resolver.
describe = dg.Resolver.default
