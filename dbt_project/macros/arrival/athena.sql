{#
  Following the lake on Athena, where each statement is a transaction of its own: a run may end
  between any two of them, and the next one makes it good.

  - The events stay in the lake; the event base is a view of it. `clickstream_load_key` takes the
    place of its rows: the keys that each data file has brought, which tell what to build again
    when a load brings the file, and when it has left the lake.
  - A load is numbered before it is noted as taken in, and rows of the ledger with a higher number
    than the last that is noted are of a run that ended early: nobody reads them. The next load,
    which has their number, removes files and keys; removals stay, as nobody else knows which
    sessions that run has taken apart, and a key more is only built again.
  - `clickstream_load_session` has the key of each event that came without session id, since there
    is no row of the event base to keep it.
  - A model changes in one MERGE, which takes the touched keys out and puts their rows in: before
    it the model is as it was, after it the same statement changes nothing more. The note in the
    ledger follows; without it the statement is run again.
  - A model that is built from nothing is unknown to the ledger until it is there.
  - `clickstream_load_state` is only added to; the greatest load_id of a model counts.

  A compacted file is a new one here: its keys are built again, with equal results.
#}

{% macro athena__make_ledger() %}
    {%- if builds() -%}
        {%- if not target.s3_data_dir or target.s3_data_dir.startswith("s3://unset") -%}
            {% do exceptions.raise_compiler_error(
                "CLICKSTREAM_ATHENA_DATA is not set: name the place on S3 that tables are written"
                ~ " to, such as s3://bucket/models/"
            ) %}
        {%- endif -%}
        {%- set keys = "app_id string, event_date date, user_pseudo_id string,"
            ~ " session_key string, platform string, report_date date" -%}
        {%- for name, columns in {
            "file": "lake_file string, load_id bigint",
            "key": "load_id bigint, lake_file string, " ~ keys,
            "state": "model string, load_id bigint, definitions string",
            "session": "app_id string, event_date date, event_id string, user_pseudo_id string,"
                ~ " platform string, report_date date, session_key string",
            "removal": "load_id bigint, " ~ keys,
        }.items() -%}
            {%- do run_query(
                "create table if not exists " ~ ledger(name).render_hive() ~ " (" ~ columns ~ ")"
                ~ " location '" ~ target.s3_data_dir.rstrip("/") ~ "/" ~ target.schema ~ "/"
                ~ ledger(name).identifier ~ "/'"
                ~ " tblproperties ('table_type' = 'iceberg')"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{# The event base is a view, over every file. #}
{% macro athena__file_changes() %}
    {%- do return({"all": true, "new": [], "gone": [], "gone_loads": [], "load_id": 1}) -%}
{% endmacro %}


{% macro athena__loaded_keys() %}
    {%- set parent = config.meta_get("follows") -%}
    {%- do return(ledger("key") if parent == "clickstream_event_base" else ref(parent)) -%}
{% endmacro %}


{% macro athena__rows_by_load(model) %}
    {%- do return(
        ledger("key") if model.identifier == "clickstream_event_base" else model
    ) -%}
{% endmacro %}


{# Models take their rows out in the materialization. #}
{% macro athena__remove_stale_rows() %}
{% endmacro %}


{# Models note what they have taken in in the materialization; the event base has none. #}
{% macro athena__remember_what_is_taken_in() %}
    {%- if builds() and not config.meta_get("follows") -%}
        {%- do take_in_files() -%}
    {%- endif -%}
{% endmacro %}


{# Brings the ledger up to the files of the lake's current snapshot, as one load. #}
{% macro take_in_files() %}
    {%- set last = last_loads().get(this.identifier) -%}
    {%- if last is none or should_full_refresh() -%}
        {%- for name in ["state", "removal", "key", "file", "session"] -%}
            {%- do run_query("delete from " ~ ledger(name)) -%}
        {%- endfor -%}
        {%- set last = 0 -%}
    {%- endif -%}
    {%- set load_id = last + 1 -%}
    {%- set lake = source("lake", "ods_event") -%}
    {%- set files = lake.incorporate(path={"identifier": lake.identifier ~ "$files"}) -%}
    {%- set rows = run_query(
        "select f.file_path, l.lake_file, l.load_id"
        ~ " from (select file_path from " ~ files ~ " where content = 0) as f"
        ~ " full join (select lake_file, load_id from " ~ ledger("file")
        ~ " where load_id <= " ~ last ~ ") as l on l.lake_file = f.file_path"
        ~ " where f.file_path is null or l.lake_file is null order by 1, 2"
    ).rows -%}
    {%- if rows or last == 0 -%}
        {%- set new = rows | map(attribute=0) | select | list -%}
        {%- set gone = rows | map(attribute=1) | select | list -%}
        {%- set gone_loads = rows | map(attribute=2) | select | unique | join(", ") -%}
        {%- if last > 0 -%}
            {%- for name in ["key", "file"] -%}
                {%- do run_query("delete from " ~ ledger(name) ~ " where load_id > " ~ last) -%}
            {%- endfor -%}
        {%- endif -%}
        {%- set keys = "app_id, event_date, user_pseudo_id, session_key, platform, report_date" -%}
        {%- set given_keys -%}
            app_id, event_date, user_pseudo_id,
            case when {{ has_no_session_id("e") }} then '#' else session_key end as session_key,
            platform, report_date
        {%- endset -%}
        {#- The text of a statement has 262,144 bytes at most. -#}
        {%- for some in gone | batch(200) -%}
            {%- do run_query(
                "insert into " ~ ledger("removal") ~ " (" ~ removal_columns() ~ ")"
                ~ " select distinct " ~ load_id ~ ", " ~ keys
                ~ " from " ~ ledger("key") ~ " where load_id in (" ~ gone_loads ~ ")"
                ~ " and lake_file in (" ~ string_list(some) ~ ")"
            ) -%}
        {%- endfor -%}
        {%- for some in new | batch(200) -%}
            {%- do run_query(
                "insert into " ~ ledger("key") ~ " select distinct " ~ load_id ~ ", lake_file, "
                ~ given_keys ~ " from " ~ this ~ " as e where lake_file in (" ~ string_list(some) ~ ")"
            ) -%}
        {%- endfor -%}
        {%- do run_query(
            "insert into " ~ ledger("file") ~ " select distinct lake_file, load_id from "
            ~ ledger("key") ~ " where load_id = " ~ load_id
        ) -%}
        {%- do keep_sessions(load_id, last == 0) -%}
        {%- do note_load(load_id) -%}
        {%- for some in gone | batch(200) -%}
            {%- for name in ["key", "file"] -%}
                {%- do run_query(
                    "delete from " ~ ledger(name) ~ " where load_id in (" ~ gone_loads ~ ")"
                    ~ " and lake_file in (" ~ string_list(some) ~ ")"
                ) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}


{# Makes the keys anew of the sessions without id that a load may have changed (sessions.sql). #}
{% macro keep_sessions(load_id, all) %}
    {%- set days = [] if all else days_without_ids(load_id) -%}
    {%- set changes = {"all": all, "load_id": load_id} -%}
    {%- set columns = "app_id, event_date, event_id, user_pseudo_id, platform, report_date,"
        ~ " session_key" -%}
    {%- if all -%}
        {%- do run_query(
            "insert into " ~ ledger("session") ~ " (" ~ columns ~ ") select " ~ columns
            ~ " from (" ~ events_in_new_sessions(changes, [], []) ~ ") as n"
        ) -%}
    {%- elif days -%}
        {%- do run_query(
            "insert into " ~ ledger("removal") ~ " (" ~ removal_columns() ~ ") select distinct "
            ~ load_id ~ ", e.app_id, e.event_date, e.user_pseudo_id, e.session_key, e.platform,"
            ~ " e.report_date from " ~ ledger("session") ~ " as e inner join ("
            ~ sessions_to_open(load_id, days) ~ ") as opened on " ~ on_same_session()
        ) -%}
        {%- do run_query(
            merge_sessions(changes, days, days_of_sessions(load_id, days))
        ) -%}
        {%- do run_query(
            "insert into " ~ ledger("removal") ~ " (" ~ removal_columns() ~ ") select distinct "
            ~ load_id ~ ", e.app_id, e.event_date, e.user_pseudo_id, e.session_key, e.platform,"
            ~ " e.report_date from " ~ ledger("session") ~ " as e inner join ("
            ~ sessions_to_open(load_id, days) ~ ") as opened on " ~ on_same_session()
        ) -%}
    {%- endif -%}
{% endmacro %}

{% macro merge_sessions(changes, days, reach) %}
    merge into {{ ledger("session") }} as e
    using (
        select
            'out' as way, app_id, cast(null as date) as event_date, null as event_id,
            user_pseudo_id, platform, cast(null as date) as report_date, session_key
        from ({{ sessions_to_open(changes.load_id, days) }}) as o
        union all
        select
            'in' as way, app_id, event_date, event_id, user_pseudo_id, platform, report_date,
            session_key
        from ({{ events_in_new_sessions(changes, days, reach, changed_only=false) }}) as n
    ) as opened
    on opened.way = 'out' and {{ on_same_session() }}
    when matched then delete
    when not matched and opened.way = 'in' then
        insert (app_id, event_date, event_id, user_pseudo_id, platform, report_date, session_key)
        values (
            opened.app_id, opened.event_date, opened.event_id, opened.user_pseudo_id,
            opened.platform, opened.report_date, opened.session_key
        )
{%- endmacro %}


{% macro athena__users_without_ids(load_id) %}
    {%- for name in ["key", "removal"] %}
    select app_id, user_pseudo_id, platform, event_date
    from {{ ledger(name) }}
    where load_id = {{ load_id }} and user_pseudo_id is not null and session_key like '#%'
    {{ "union" if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro athena__kept_session_key() %}
    {{- "coalesce(kept_session_key, '#')" -}}
{% endmacro %}

{% macro athena__events_with_keys() %}
    {%- do return(
        "(select *, cast(null as varchar) as session_id from " ~ ledger("session") ~ ")"
    ) -%}
{% endmacro %}


{# Notes that this model has taken in everything up to a load. #}
{% macro note_load(load_id) %}
    {%- do run_query(
        "insert into " ~ ledger("state") ~ " (model, load_id, definitions) values ("
        ~ string_list([this.identifier]) ~ ", " ~ load_id ~ ", "
        ~ string_list([definitions_of_model()]) ~ ")"
    ) -%}
{% endmacro %}


{# The statement that brings a model that is there up to date. #}
{% macro merge_reopened(loads, ranges, compiled_code) %}
    {%- set columns = adapter.get_columns_in_relation(this) | map(attribute="name") | list -%}
    {%- set key = config.meta_get("reopens") -%}
    merge into {{ this }} as former
    using (
        select
            'out' as way
            {%- for column in columns %}, {{ column if column in key else "null as " ~ column }}
            {%- endfor %}
        from ({{ touched_keys(loads) }}) as k
        union all
        select 'in' as way, {{ columns | join(", ") }}
        from (
            {{ compiled_code }}
        ) as r
    ) as touched
    on touched.way = 'out' and {{ on_same_key("former") }}
        and {{ on_touched_rows("former", ranges) }}
    when matched then delete
    when not matched and touched.way = 'in' then
        insert ({{ columns | join(", ") }})
        values (
            {%- for column in columns %}touched.{{ column }}{{ ", " if not loop.last }}
            {%- endfor -%}
        )
{%- endmacro %}


{#
  dbt-athena's own way writes a temporary table first and adds its rows in another statement. Both
  would read the events, and a run that ends between two statements would leave rows twice.
#}
{% materialization incremental, adapter="athena" %}
    {%- set target_relation = this.incorporate(type="table") -%}
    {%- set existing = load_relation(this) -%}
    {%- set loads = loads_to_take_in() -%}

    {{ run_hooks(pre_hooks) }}

    {%- set statement_ = "select 'nothing new'" -%}
    {%- if loads.all or existing is none -%}
        {%- do run_query(
            "delete from " ~ ledger("state") ~ " where model = '" ~ this.identifier ~ "'"
        ) -%}
        {%- if existing is not none -%}
            {%- do drop_relation(existing) -%}
        {%- endif -%}
        {%- do safe_create_table_as(False, target_relation, compiled_code) -%}
        {%- set statement_ = "select 'built from nothing'" -%}
    {%- elif loads.after < loads.upto -%}
        {%- set ranges = touched_ranges(loads) if day_of_rows() else [] -%}
        {%- for noted in note_days_that_rows_leave(loads, ranges).split(";") if noted | trim -%}
            {%- do run_query(noted) -%}
        {%- endfor -%}
        {%- set statement_ = merge_reopened(loads, ranges, compiled_code) -%}
    {%- endif -%}
    {% call statement("main") %}
        {{ statement_ }}
    {% endcall %}
    {%- if loads.all or existing is none or loads.after < loads.upto -%}
        {%- do note_load(loads.upto) -%}
    {%- endif -%}

    {{ run_hooks(post_hooks) }}

    {%- do persist_docs(target_relation, model) -%}
    {{ return({"relations": [target_relation]}) }}
{% endmaterialization %}
