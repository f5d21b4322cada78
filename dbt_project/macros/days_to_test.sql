{#
  The condition that keeps the rows a test looks at: those on the days that the last load has
  written rows of. So a test does not read the whole history at each run. With the var
  `test_everything` (`dbt test --vars 'test_everything: true'`) all rows are looked at.
#}
{% macro days_to_test(model, day) %}
    {%- if var("test_everything") or not (execute and flags.WHICH in ["build", "test"]) -%}
        true
    {%- else -%}
        {%- set query -%}
            select distinct {{ day }}, {{ day }} as last_day
            from {{ model }}
            where
                load_id = (select max(load_id) from {{ model }})
                and {{ day }} is not null
        {%- endset -%}
        {%- set days = merged(run_query(query).rows) -%}
        {{ in_ranges(day, days) if days else "true" }}
    {%- endif -%}
{% endmacro %}
