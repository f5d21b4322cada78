{#
  The values are null or from `least` to `most`; the last one may be left out.

  `recent` names the column with the day of a model that is rebuilt by days: see days_to_test.
#}
{% test accepted_range(model, column_name, least, most=none, recent=none) %}
    select *
    from {{ model }}
    where
        ({{ column_name }} < {{ least }}{% if most is not none %} or {{ column_name }} > {{ most }}{% endif %})
        {%- if recent %}
        and {{ days_to_test(model, recent) }}
        {%- endif %}
{% endtest %}
