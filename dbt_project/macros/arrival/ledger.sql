{#
  The ledger: what has been loaded, and which model knows about it.

  - `clickstream_load_file`: one row per data file of the lake whose rows are in
    clickstream_event_base, with the load that brought it. Loads are numbered 1, 2, 3, ... Where
    compaction has put the rows of a loaded file into another one, `lake_file` is that one, several
    rows may have the same, and `loaded_file` is the file that the rows were loaded from.
  - `clickstream_load_state`: one row per incremental model, with the last load that it has taken
    in, and the definitions that its table was made by. A model writes its row in the transaction
    that changes its table, so that a run that died is made good by the next one; a model that was
    made by other definitions starts over.
  - `clickstream_load_removal`: the keys of rows that a load took out of clickstream_event_base
    because their file has left the lake, and of rows that it has put into another session.
    Emptied when every model has seen them.
  - `clickstream_load_session`: the events that a load puts into another session (sessions.sql);
    empty between runs.
#}

{% macro ledger(name) %}
    {%- do return(api.Relation.create(
        database=target.database, schema=target.schema, identifier="clickstream_load_" ~ name
    )) -%}
{% endmacro %}


{# on-run-start: makes the tables of the ledger once. #}
{% macro make_ledger() %}
    {{- return(adapter.dispatch("make_ledger", "clickstream")()) -}}
{% endmacro %}

{% macro default__make_ledger() %}
    {%- if builds() -%}
        {%- do run_query("create schema if not exists " ~ ledger("file").without_identifier()) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("file")
            ~ " (lake_file varchar not null, load_id bigint not null, loaded_file varchar)"
        ) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("state")
            ~ " (model varchar not null, load_id bigint not null, definitions varchar)"
        ) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("removal")
            ~ " (load_id bigint not null, app_id varchar, event_date date,"
            ~ " user_pseudo_id varchar, session_key varchar, platform varchar, report_date date)"
        ) -%}
        {%- do run_query(
            "create table if not exists " ~ ledger("session")
            ~ " (app_id varchar, event_date date, event_id varchar, user_pseudo_id varchar,"
            ~ " platform varchar, report_date date, former_key varchar, session_key varchar)"
        ) -%}
        {#- A ledger of an earlier version lacks these columns. -#}
        {%- for table, column in [
            ("file", "loaded_file varchar"),
            ("state", "definitions varchar"),
            ("removal", "report_date date"),
        ] -%}
            {%- do run_query(
                "alter table " ~ ledger(table) ~ " add column if not exists " ~ column
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{# on-run-end: forgets removed keys that every model has taken in; they may name erased users. #}
{% macro forget_consumed_removals() %}
    {{- return(adapter.dispatch("forget_consumed_removals", "clickstream")()) -}}
{% endmacro %}

{% macro default__forget_consumed_removals() %}
    {%- if builds() -%}
        delete from {{ ledger("removal") }}
        where load_id <= (
            select min(taken_in.load_id)
            from (
                select max(load_id) as load_id from {{ ledger("state") }} group by model
            ) as taken_in
        )
    {%- endif -%}
{% endmacro %}


{#
  The last load that each model has taken in, as a dict; in one query, for dbt takes its time. This
  model is not in it when its table was made by other definitions than the project has now.
#}
{% macro last_loads() %}
    {%- set loads = {} -%}
    {%- set query = "select model, load_id, definitions from " ~ ledger("state") -%}
    {%- for row in run_query(query).rows -%}
        {%- if row[0] != this.identifier or row[2] == definitions_of_model() -%}
            {%- do loads.update({row[0]: [loads.get(row[0], 0), row[1] | int] | max}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(loads) -%}
{% endmacro %}


{#
  The definitions that this model is made by, as text: those that `meta.defined_by` names, its
  ancestors' included. The number is of the table's form: `meta.form` is raised whenever the SQL of
  a model, or of one before it, changes in a way that rows of an earlier version do not fit.
#}
{% macro definitions_of_model() %}
    {%- set values = {} -%}
    {%- for name in config.meta_get("defined_by", []) -%}
        {%- do values.update({name: var(name)}) -%}
    {%- endfor -%}
    {%- do return(config.meta_get("form", 2) ~ " " ~ tojson(values, sort_keys=true)) -%}
{% endmacro %}


{# Statements that note in the ledger that this model has taken in everything up to a load. #}
{% macro remember_load(load_id) %}
    delete from {{ ledger("state") }} where model = '{{ this.identifier }}';
    insert into {{ ledger("state") }} (model, load_id, definitions)
    values ('{{ this.identifier }}', {{ load_id }}, {{ string_list([definitions_of_model()]) }});
{% endmacro %}


{#
  Raises when this model is about to start over from less than its table was made from. Most engines
  read the lake itself; of Redshift old days may have expired. A full refresh does without.
#}
{% macro must_have_the_whole_history() %}
    {%- do adapter.dispatch("must_have_the_whole_history", "clickstream")() -%}
{% endmacro %}

{% macro default__must_have_the_whole_history() %}
{% endmacro %}


{#
  Whether models are changed at all: elsewhere (`dbt compile`, `dbt docs`) SQL is only shown, and
  it is the SQL that builds a model from everything.
#}
{% macro builds() %}
    {%- do return(execute and flags.WHICH in ["run", "build"]) -%}
{% endmacro %}
