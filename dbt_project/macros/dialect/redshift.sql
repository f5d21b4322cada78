{#
  What Redshift writes in its own way. events.sql says what each macro gives.

  Nested columns are SUPER: a path into one gives a SUPER, which joins, groups and compares by rules
  of its own, so each is cast where it is read. `varchar` alone has 256 bytes there and cuts.
#}

{# The loader keeps the parameters that the models ask for in columns: SQL on Redshift has no
   expression for "the element with this key". The names are warehouses/redshift/tables.py's. #}
{% macro redshift__event_param(key, type) %}
    {{- "e.param%s_%s" % (key, type) -}}
{% endmacro %}


{% macro redshift__nested(path, type) %}
    {%- set types = {
        "string": "varchar(65535)" if ".value." in path else "varchar(4096)",
        "int": "bigint", "float": "real", "double": "double precision",
    } -%}
    {{- "cast(%s as %s)" % (path, types[type]) -}}
{% endmacro %}


{% macro redshift__unnested(relation, column) %}
    (select r.*, item from {{ relation }} as r, r.{{ column }} as item)
{%- endmacro %}


{# Redshift prints a whole number of a floating type without a fraction. #}
{% macro redshift__number_text(number) %}
    {%- if "bigint" in number -%}
        cast({{ number }} as varchar(32))
    {%- else -%}
        case
            when abs({{ number }}) < 1e15 and {{ number }} = trunc({{ number }})
                then cast(cast({{ number }} as bigint) as varchar(32)) || '.0'
            else cast({{ number }} as varchar(32))
        end
    {%- endif -%}
{% endmacro %}


{# Fractions of a second are cut: times are only read by the hour. #}
{% macro redshift__ms_to_timestamp(ms) %}
    {{- "timestamp 'epoch' + cast(floor(%s / 1000) as bigint) * interval '1 second'" % ms -}}
{% endmacro %}


{# Redshift lacks `is not distinct from`, and joins on `or` row by row. With a sign behind each
   value, no value equals what stands for null, and the join can be hashed. #}
{% macro redshift__same(left, right) %}
    {{- "coalesce(cast(%s as varchar(65535)) || '.', '') = coalesce(cast(%s as varchar(65535)) || '.', '')"
        % (left, right) -}}
{% endmacro %}


{# Rows are taken out and put in by the loader (warehouses/redshift/loading.py), which knows them by
   app, day and batch, not by file, and writes the ledger. #}
{% macro redshift__file_changes() %}
    {%- do return({"all": true, "new": [], "gone": [], "gone_loads": [], "load_id": 0}) -%}
{% endmacro %}


{% macro redshift__load_columns(changes) %}
    {{- "e.load_id" -}}
{% endmacro %}


{% macro redshift__remove_gone_files() %}{% endmacro %}


{% macro redshift__remember_files() %}{% endmacro %}


{# The loader makes the ledger with the table of events. #}
{% macro redshift__make_ledger() %}{% endmacro %}
