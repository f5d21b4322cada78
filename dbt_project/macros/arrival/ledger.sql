{#
  The ledger: what has been loaded, and which model knows about it.

  - `clickstream_load_file`: one row per data file of the lake whose rows are in
    clickstream_event_base, with the load that brought it. Loads are numbered 1, 2, 3, ... Where
    compaction has put the rows of a loaded file into another one, `lake_file` is that one, several
    rows may have the same, and `loaded_file` is the file that the rows were loaded from.
  - `clickstream_load_state`: one row per incremental model, with the last load that it has taken
    in. A model writes its row in the transaction that changes its table, so that a run that died
    is made good by the next one.
  - `clickstream_load_removal`: the keys of rows that a load took out of clickstream_event_base
    because their file has left the lake. Emptied when every model has seen them.
#}

{% macro ledger(name) %}
    {%- do return(api.Relation.create(
        database=target.database, schema=target.schema, identifier="clickstream_load_" ~ name
    )) -%}
{% endmacro %}


{# on-run-start: makes the tables of the ledger once. #}
{% macro make_ledger() %}
    {{- adapter.dispatch("make_ledger", "clickstream")() -}}
{% endmacro %}

{% macro default__make_ledger() %}
    {%- if builds() -%}
        {%- do run_query("create schema if not exists " ~ ledger("file").without_identifier()) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("file")
            ~ " (lake_file varchar not null, load_id bigint not null, loaded_file varchar)"
        ) -%}
        {#- A ledger of an earlier version lacks the column. -#}
        {%- do run_query(
            "alter table " ~ ledger("file") ~ " add column if not exists loaded_file varchar"
        ) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("state")
            ~ " (model varchar not null, load_id bigint not null)"
        ) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("removal")
            ~ " (load_id bigint not null, app_id varchar, event_date date,"
            ~ " user_pseudo_id varchar, session_key varchar, platform varchar)"
        ) -%}
    {%- endif -%}
{% endmacro %}


{# on-run-end: forgets removed keys that every model has taken in; they may name erased users. #}
{% macro forget_consumed_removals() %}
    {%- if builds() -%}
        delete from {{ ledger("removal") }}
        where load_id <= (
            select min(last.load_id)
            from (
                select max(load_id) as load_id from {{ ledger("state") }} group by model
            ) as last
        )
    {%- endif -%}
{% endmacro %}


{# The last load that each model has taken in, as a dict; in one query, for dbt takes its time. #}
{% macro last_loads() %}
    {%- set loads = {} -%}
    {%- for row in run_query(
        "select model, max(load_id) from " ~ ledger("state") ~ " group by model"
    ).rows -%}
        {%- do loads.update({row[0]: row[1] | int}) -%}
    {%- endfor -%}
    {%- do return(loads) -%}
{% endmacro %}


{# Statements that note in the ledger that this model has taken in everything up to a load. #}
{% macro remember_load(load_id) %}
    delete from {{ ledger("state") }} where model = '{{ this.identifier }}';
    insert into {{ ledger("state") }} values ('{{ this.identifier }}', {{ load_id }});
{% endmacro %}


{#
  Whether models are changed at all: elsewhere (`dbt compile`, `dbt docs`) SQL is only shown, and
  it is the SQL that builds a model from everything.
#}
{% macro builds() %}
    {%- do return(execute and flags.WHICH in ["run", "build"]) -%}
{% endmacro %}
