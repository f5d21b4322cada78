{#
  Which rows the tests look at. A test that reads the whole history at each run would cost more than
  the run; what a load has not written needs no second look. With the var `test_everything`
  (`clickstream model --check-everything`, `dbt build --vars 'test_everything: true'`) all rows are
  looked at, and the tests that can't do with less than all are made.
#}

{#
  The condition that keeps the rows on the days that the last load of `model` has written rows of.
  `day` is the column with the day, or load_id for the rows of that load alone; `column` is the
  column to compare, if it has another name.
#}
{% macro days_to_test(model, day, column=none) %}
    {%- if tests_everything() -%}
        true
    {%- elif day == "load_id" -%}
        load_id = (select max(load_id) from {{ model }})
    {%- else -%}
        {%- set query -%}
            select distinct {{ day }}, {{ day }} as last_day
            from {{ rows_by_load(model) }}
            where
                load_id = (select max(load_id) from {{ rows_by_load(model) }})
                and {{ day }} is not null
        {%- endset -%}
        {{ in_ranges(column or day, merged(run_query(query).rows)) }}
    {%- endif -%}
{% endmacro %}


{# As days_to_test, for tests that count events: without days that the warehouse lacks events of. #}
{% macro whole_days_to_test(model, day, column=none) %}
    {{- days_to_test(model, day, column) }} {{ has_all_events(column or day) }}
{%- endmacro %}


{# A further condition on a day. #}
{% macro has_all_events(column) %}
    {{- return(adapter.dispatch("has_all_events", "clickstream")(column)) -}}
{% endmacro %}

{% macro default__has_all_events(column) %}
{%- endmacro %}


{# The relation that tells on which days a load has written rows of a model: the model itself. #}
{% macro rows_by_load(model) %}
    {{- return(adapter.dispatch("rows_by_load", "clickstream")(model)) -}}
{% endmacro %}

{% macro default__rows_by_load(model) %}
    {%- do return(model) -%}
{% endmacro %}


{# Whether tests look at all rows; also where SQL is only shown. #}
{% macro tests_everything() %}
    {%- do return(
        var("test_everything") or not (execute and flags.WHICH in ["build", "test"])
    ) -%}
{% endmacro %}


{# The condition of a test that needs the whole history: false unless everything is tested. #}
{% macro only_when_everything_is_tested() %}
    {{- "true" if tests_everything() else "false" -}}
{% endmacro %}


{#
  What a generic test reads in place of its model. Where the model is built by loads, tests of single
  rows look at those of the last load only; other tests choose by days_to_test. A view is read whole
  or not at all: what it shows of base models is tested there.
#}
{% macro default__get_where_subquery(relation) %}
    {%- set where = config.get("where", "") -%}
    {%- set of_rows = ["not_null", "accepted_values", "accepted_range", "relationships_in_app"] -%}
    {%- if where -%}
        {%- do return("(select * from " ~ relation ~ " where " ~ where ~ ") as tested") -%}
    {%- elif tests_everything() -%}
        {%- do return(relation) -%}
    {%- elif not is_built_by_loads(relation) -%}
        {%- do return("(select * from " ~ relation ~ " where false) as tested") -%}
    {%- elif model.test_metadata.name in of_rows -%}
        {%- do return(
            "(select * from " ~ relation ~ " where load_id = (select max(load_id) from " ~ relation
            ~ ")) as tested"
        ) -%}
    {%- else -%}
        {%- do return(relation) -%}
    {%- endif -%}
{% endmacro %}


{% macro is_built_by_loads(relation) %}
    {%- set found = namespace(incremental=false) -%}
    {%- for node in graph.nodes.values() -%}
        {%- if node.name == relation.identifier and node.config.materialized == "incremental" -%}
            {%- set found.incremental = true -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(found.incremental) -%}
{% endmacro %}
