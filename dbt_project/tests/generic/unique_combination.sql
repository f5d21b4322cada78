{#
  The columns identify a row; null counts as a value.

  `dated: true` is for tables of one row per event with event_date and load_id, which only grow:
  it looks at the keys of the last load, on the days that the load has events of.
#}
{% test unique_combination(model, columns, dated=false) %}
    {%- set key = columns | join(", ") -%}
    select {{ key }}, count(*) as rows_of_key
    from {{ model }}
    {%- if dated and execute and flags.WHICH in ["build", "test"] %}
        {%- set row = run_query(
            "select min(event_date), max(event_date), max(load_id) from " ~ model
            ~ " where load_id = (select max(load_id) from " ~ model ~ ")"
        ).rows[0] %}
        {%- if row[0] is not none %}
    where event_date between date '{{ row[0] }}' and date '{{ row[1] }}'
        {%- endif %}
    {%- endif %}
    group by {{ key }}
    having count(*) > 1
{% endtest %}
