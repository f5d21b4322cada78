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
        {%- set days = run_query(
            "select distinct event_date from " ~ model
            ~ " where load_id = (select max(load_id) from " ~ model ~ ")"
        ).columns[0].values() %}
        {%- if days %}
    where event_date in (
        {%- for day in days %}date '{{ day }}'{{ ", " if not loop.last }}{% endfor -%}
    )
        {%- endif %}
    {%- endif %}
    group by {{ key }}
    having count(*) > 1
{% endtest %}
