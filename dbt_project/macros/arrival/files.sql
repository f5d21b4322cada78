{#
  The event base follows the data files of the lake's current snapshot: files never change, so a
  file is loaded once, and its rows go when it leaves the lake. A file that compaction has made of
  loaded ones is not loaded: the ledger notes it in their place, and the rows keep the file that
  they were loaded from.
#}

{#
  What this run of the event base has to do, as a dict: `all` (start over: on the first run, on a
  full refresh, and when the ledger does not know the model), `new` (files to load) and `gone`
  (files that rows were loaded from and that have left the lake), as lists of paths, `gone_loads`
  (the loads that had brought the gone files), `load_id` (the number of this load).
#}
{% macro file_changes() %}
    {%- do return(adapter.dispatch("file_changes", "clickstream")()) -%}
{% endmacro %}

{% macro default__file_changes() %}
    {%- set files = source("lake", "ods_event_file") -%}
    {%- set moved = source("lake", "ods_event_moved") -%}
    {%- set last_load = last_loads().get(this.identifier) if builds() else none -%}
    {%- if last_load is none or not is_incremental() -%}
        {%- do return({"all": true, "new": [], "gone": [], "gone_loads": [], "load_id": 1}) -%}
    {%- endif -%}
    {%- set rows = run_query(
        "select f.lake_file, l.loaded_file, l.load_id from "
        ~ files ~ " as f full join (select coalesce(m.lake_file, l.lake_file) as lake_file,"
        ~ " coalesce(l.loaded_file, l.lake_file) as loaded_file, l.load_id from " ~ ledger("file")
        ~ " as l left join " ~ moved ~ " as m on m.former_file = l.lake_file)"
        ~ " as l on l.lake_file = f.lake_file where f.lake_file is null or l.lake_file is null"
        ~ " order by 1, 2"
    ).rows -%}
    {%- set new = rows | map(attribute=0) | select | list -%}
    {%- set gone = rows | map(attribute=1) | select | list -%}
    {%- set gone_loads = rows | map(attribute=2) | select | unique | list -%}
    {%- set load_id = last_load + (1 if rows else 0) -%}
    {%- do return({
        "all": false, "new": new, "gone": gone, "gone_loads": gone_loads, "load_id": load_id
    }) -%}
{% endmacro %}


{# The events of the lake, as the event base reads them: each with `lake_file`, the data file
   that holds it (on Redshift the batch). #}
{% macro lake_events(changes) %}
    {{- return(adapter.dispatch("lake_events", "clickstream")(changes)) -}}
{% endmacro %}

{% macro default__lake_events(changes) %}
    {{- source("lake", "ods_event") -}}
{% endmacro %}


{# A condition on the lake that keeps the rows of the files to load, with their names spelled out
   so that no other file is opened. #}
{% macro in_files_to_load(changes) %}
    {{- return(adapter.dispatch("in_files_to_load", "clickstream")(changes)) -}}
{% endmacro %}

{% macro default__in_files_to_load(changes) %}
    {%- if changes.all -%}
        true
    {%- elif changes.new -%}
        lake_file in ({{ string_list(changes.new) }})
    {%- else -%}
        false
    {%- endif -%}
{% endmacro %}


{#
  Statements that take the rows of files that have left the lake out of the event base, and note
  their keys for the models that read them.
#}
{% macro remove_gone_files() %}
    {{- return(adapter.dispatch("remove_gone_files", "clickstream")()) -}}
{% endmacro %}

{% macro default__remove_gone_files() %}
    {%- set changes = file_changes() -%}
    {%- if changes.all and builds() -%}
        delete from {{ ledger("file") }};
        delete from {{ ledger("state") }};
        delete from {{ ledger("removal") }};
        {% if is_incremental() %} delete from {{ this }}; {% endif %}
    {%- elif changes.gone -%}
        {%- set gone -%}
            load_id in ({{ changes.gone_loads | join(", ") }})
            and lake_file in ({{ string_list(changes.gone) }})
        {%- endset -%}
        insert into {{ ledger("removal") }} ({{ removal_columns() }})
        select distinct
            {{ changes.load_id }},
            app_id,
            event_date,
            user_pseudo_id,
            session_key,
            platform,
            report_date
        from {{ this }}
        where {{ gone }};
        delete from {{ this }} where {{ gone }};
    {%- endif -%}
{% endmacro %}


{% macro removal_columns() %}
    {{- "load_id, app_id, event_date, user_pseudo_id, session_key, platform, report_date" -}}
{% endmacro %}


{# Statements that note which files the event base holds now. #}
{% macro remember_files() %}
    {{- return(adapter.dispatch("remember_files", "clickstream")()) -}}
{% endmacro %}

{% macro default__remember_files() %}
    {%- set changes = file_changes() -%}
    {%- if builds() and not changes.all %}
        update {{ ledger("file") }} as l
        set lake_file = m.lake_file, loaded_file = coalesce(l.loaded_file, l.lake_file)
        from {{ source("lake", "ods_event_moved") }} as m
        where m.former_file = l.lake_file;
    {%- endif -%}
    {%- if builds() and (changes.all or changes.new or changes.gone) -%}
        {%- if changes.gone %}
        delete from {{ ledger("file") }}
        where coalesce(loaded_file, lake_file) in ({{ string_list(changes.gone) }});
        {%- endif %}
        insert into {{ ledger("file") }} (lake_file, load_id)
        select lake_file, {{ changes.load_id }}
        from {{ source("lake", "ods_event_file") }}
        where {{ in_files_to_load(changes) }};
        {{ remember_load(changes.load_id) }}
    {%- endif -%}
{% endmacro %}


{# Strings as a comma-separated list of SQL literals. #}
{% macro string_list(values) %}
    {{- return(adapter.dispatch("string_list", "clickstream")(values)) -}}
{% endmacro %}

{% macro default__string_list(values) %}
    {%- for value in values -%}
        '{{ value | replace("'", "''") }}'{{ ", " if not loop.last }}
    {%- endfor -%}
{% endmacro %}
