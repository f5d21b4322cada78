{# What DuckDB writes in its own way. events.sql says what each macro gives. #}

{% macro duckdb__event_param(key, type) %}
    {{- "list_filter(event_params, lambda p: p.key = %s)[1].value.%s_value"
        % (string_list([key]), type) -}}
{% endmacro %}


{# DuckDB filters the rows of a join with unnest after making them all, twenty times slower. #}
{% macro duckdb__unnested(relation, column) %}
    (select *, unnest({{ column }}) as item from {{ relation }})
{%- endmacro %}


{% macro duckdb__ms_to_timestamp(ms) %}
    {{- "epoch_ms(%s)" % ms -}}
{% endmacro %}


{% macro duckdb__local_time(timestamp, zone) %}
    {{- "timezone(%s, timezone('UTC', %s))" % (string_list([zone]), timestamp) -}}
{% endmacro %}


{# Without windows: to sort all events costs several times as much as these aggregates. #}
{% macro duckdb__value_at(value, nth, order, last, among) %}
    {{- "arg_%s_null(%s, row(%s))%s" % (
        "max" if last else "min", value, order | join(", "),
        " filter (where " ~ among ~ ")" if among else "",
    ) -}}
{% endmacro %}

{% macro duckdb__numbered(nth, key, order, last) %}
    {%- do return("") -%}
{% endmacro %}
