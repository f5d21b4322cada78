{#
  Every relation is in the schema of the target: the project's own.

  dbt's own version puts a model with a configured schema into `<target>_<schema>`; there is one
  schema for a project here, whatever a user of the package configures beside it.
#}
{% macro generate_schema_name(custom_schema_name, node) %}
    {{- target.schema if custom_schema_name is none else custom_schema_name | trim -}}
{% endmacro %}
