{#
  The columns identify a row; null counts as a value.

  `recent` names the column with the day of a model that is rebuilt by days, or that has one row
  per event: see days_to_test.
#}
{% test unique_combination(model, columns, recent=none) %}
    {%- set key = columns | join(", ") -%}
    select {{ key }}, count(*) as rows_of_key
    from {{ model }}
    {%- if recent %}
    where {{ days_to_test(model, recent) }}
    {%- endif %}
    group by {{ key }}
    having count(*) > 1
{% endtest %}
