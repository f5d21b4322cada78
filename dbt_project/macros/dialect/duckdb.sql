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


{% macro duckdb__now_in_utc() %}
    {{- "timezone('UTC', now())" -}}
{% endmacro %}


{% macro duckdb__local_time(timestamp, zone) %}
    {{- "timezone(%s, timezone('UTC', %s))" % (string_list([zone]), timestamp) -}}
{% endmacro %}


{# In the order that the other windows of the query have: events are sorted once. #}
{% macro duckdb__next_among(value, flag, key, order) %}
    {{- "struct_extract(lead(case when %s = 1 then struct_pack(of_next := %s) end ignore nulls)"
        " over (partition by %s order by %s), 'of_next')"
        % (flag, value, key | join(", "), order | join(", ")) -}}
{% endmacro %}


{# One aggregate for all columns, and no window. #}
{% macro duckdb__last_rows(relation, key, columns, order) %}
    (
        select
            {{ key | join(", ") }},
            {%- for column in columns %}
            struct_extract(last_row, '{{ column }}') as {{ column }}{{ "," if not loop.last }}
            {%- endfor %}
        from (
            select
                {{ key | join(", ") }},
                arg_max(
                    struct_pack(
                        {%- for column in columns -%}
                            {{ column }} := {{ column }}{{ ", " if not loop.last }}
                        {%- endfor -%}
                    ),
                    row({{ order | join(", ") }})
                ) as last_row
            from {{ relation }}
            group by {{ key | join(", ") }}
        ) as grouped
    )
{%- endmacro %}


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
