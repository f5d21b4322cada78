{#
  A model behind the event base rebuilds the keys that a load has touched, whole: the keys of its
  parent's rows that came with loads it has not taken in, and the keys of rows that those loads
  took out. So late, repeated and corrected events end in the same table as a full refresh.

  A model says in its config what the macros need, sets `loads = loads_to_take_in()`, reads its
  parent with `reopened(loads, ...)`, and adds `cast({{ loads.upto }} as bigint) as load_id`:

    meta.follows   name of the parent model
    meta.reopens   columns of the key; the parent and the removals have them under the same names
    meta.spans     true if the model keeps first_event_date and last_event_date of a key, which
                   may reach over more days than the load has events of; its key columns are read
                   whole to find those days, and no other column
    meta.dated     event_date or report_date, if the model has one
    meta.awaits    other models that it reads: it takes in no load that one of them lacks
    meta.reaches   for how many days after it a touched day is counted in: those are rebuilt, too
    meta.reaches_back  the same for days before it
    meta.notes     report_date or first_active_date, if other models count the rows of this one by
                   that day: the days that rows leave are noted as removals
    meta.defined_by  names of the definitions that the model's rows depend on (ledger.sql)
    meta.form      number of the table's form, 2 if it says none (ledger.sql)
#}

{#
  What this run has to do, as a dict: `all` (start over: on the first run, on a full refresh, and
  when the ledger does not know the model), else the loads after `after` up to `upto`.
#}
{% macro loads_to_take_in() %}
    {%- set last = last_loads() if builds() else {} -%}
    {%- set upto = [last.get(config.meta_get("follows"), 0)] -%}
    {%- for parent in config.meta_get("awaits", []) -%}
        {%- do upto.append(last.get(parent, 0)) -%}
    {%- endfor -%}
    {%- set upto = upto | min -%}
    {%- set after = last.get(this.identifier) -%}
    {%- do return({
        "all": after is none or not is_incremental(), "after": after or 0, "upto": upto
    }) -%}
{% endmacro %}


{# The clauses behind `from parent as e` that keep the rows of the keys to rebuild. #}
{% macro reopened(loads, alias, dated=true) %}
    {%- if not loads.all -%}
        {%- if loads.after >= loads.upto -%}
            where false
        {%- else -%}
            inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key(alias) }}
            {%- if dated %} where {{ on_touched_dates(alias, loads) }} {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# Statements that take out the rows of the keys to rebuild. #}
{% macro remove_reopened() %}
    {%- set loads = loads_to_take_in() -%}
    {%- if loads.all -%}
        {%- if is_incremental() and builds() -%}
            {%- do must_have_the_whole_history() -%}
            delete from {{ this }}
        {%- endif -%}
    {%- elif loads.after < loads.upto -%}
        {%- set ranges = touched_ranges(loads) if day_of_rows() else [] -%}
        {{ note_days_that_rows_leave(loads, ranges) }}
        {#- Redshift takes neither an alias here nor a query behind `using`. -#}
        with touched as ({{ touched_keys(loads) }})
        delete from {{ this }}
        using touched
        where {{ on_same_key(this.identifier) }}
        and {{ on_touched_rows(this.identifier, ranges) }}
    {%- endif -%}
{% endmacro %}


{# Statements that note in the ledger what the model has taken in. #}
{% macro remember_reopened() %}
    {%- set loads = loads_to_take_in() -%}
    {%- if builds() and (loads.all or loads.after < loads.upto) -%}
        {{ remember_load(loads.upto) }}
    {%- endif -%}
{% endmacro %}


{#
  Statements that note the days by which other models count the rows that are about to be rebuilt.
  Of users only the first days that move: most stay where they are.
#}
{% macro note_days_that_rows_leave(loads, ranges) %}
    {%- if config.meta_get("notes") == "report_date" -%}
        insert into {{ ledger("removal") }} (load_id, app_id, event_date, report_date)
        select distinct {{ loads.upto }}, former.app_id, former.report_date, former.report_date
        from {{ this }} as former
        inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("former") }}
        where former.report_date is not null and {{ on_touched_rows("former", ranges) }};
    {%- elif config.meta_get("notes") == "first_active_date" %}
        {%- for day in ["former.first_active_date", "now.first_active_date"] %}
        insert into {{ ledger("removal") }} (load_id, app_id, event_date, report_date)
        select distinct {{ loads.upto }}, former.app_id, {{ day }}, {{ day }}
        from {{ this }} as former
        inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("former") }}
        left join (
            select d.app_id, d.user_pseudo_id, min(d.report_date) as first_active_date
            from {{ ref(config.meta_get("follows")) }} as d
            inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("d") }}
            group by d.app_id, d.user_pseudo_id
        ) as now on former.app_id = now.app_id and former.user_pseudo_id = now.user_pseudo_id
        where
            {{ day }} is not null
            and (
                now.first_active_date is null or now.first_active_date <> former.first_active_date
            );
        {%- endfor %}
    {%- endif -%}
{% endmacro %}


{% macro touched_keys(loads) %}
    {%- set key = config.meta_get("reopens") | join(", ") -%}
    select {{ key }} from {{ loaded_keys() }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }} {{ on_whole_days() }}
    union
    select {{ key }} from {{ ledger("removal") }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }} {{ on_whole_days() }}
    {%- if config.meta_get("reaches") or config.meta_get("reaches_back") %}
    union
    select near.app_id, near.report_date
    from {{ ref(config.meta_get("follows")) }} as near
    inner join (
        select app_id, report_date from {{ ref(config.meta_get("follows")) }}
        where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
        union
        select app_id, report_date from {{ ledger("removal") }}
        where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
    ) as loaded
        on
            near.app_id = loaded.app_id
            and near.report_date >= {{
                dbt.dateadd("day", -config.meta_get("reaches_back", 0), "loaded.report_date")
            }}
            and near.report_date <= {{
                dbt.dateadd("day", config.meta_get("reaches", 0), "loaded.report_date")
            }}
    where {{ in_ranges("near.report_date", touched_ranges(loads)) }} {{ on_whole_days("near.") }}
    {%- endif %}
{%- endmacro %}


{# Where the key has a day and the model reads events: leaves out days that lack some of them. #}
{% macro on_whole_days(alias="") %}
    {%- set day = config.meta_get("dated") -%}
    {%- if day in config.meta_get("reopens") and reads_events() -%}
        {{ has_all_events(alias ~ day) }}
    {%- endif -%}
{%- endmacro %}


{# Whether the model that is built reads events, and not only what has been made of them. #}
{% macro reads_events() %}
    {%- for node in model.depends_on.nodes
        if node.split(".")[-1] in ["ods_event", "clickstream_event_base", "clickstream_path_base"]
    -%}
        {%- do return(true) -%}
    {%- endfor -%}
    {%- do return(false) -%}
{% endmacro %}


{# The relation that tells which keys a load has brought: the parent, whose rows have load_id. #}
{% macro loaded_keys() %}
    {{- return(adapter.dispatch("loaded_keys", "clickstream")()) -}}
{% endmacro %}

{% macro default__loaded_keys() %}
    {%- do return(ref(config.meta_get("follows"))) -%}
{% endmacro %}


{% macro on_same_key(alias) %}
    {%- for column in config.meta_get("reopens") -%}
        {{ same(alias ~ "." ~ column, "touched." ~ column) }}{{ " and " if not loop.last }}
    {%- endfor -%}
{% endmacro %}


{#
  The condition that an event's day is one of those that hold events of the touched keys, with the
  days spelled out, so that the engine skips the rest of the history.
#}
{% macro on_touched_dates(alias, loads) %}
    {%- set ranges = touched_ranges(loads) -%}
    {%- if config.meta_get("dated") == "report_date" -%}
        {{ in_ranges(alias ~ ".report_date", ranges) }}
        {%- if config.meta_get("follows") == "clickstream_event_base" %}
        and {{ in_ranges(alias ~ ".event_date", widened(ranges, report_day_margin())) }}
        {%- endif -%}
    {%- else -%}
        {{ in_ranges(alias ~ ".event_date", ranges) }}
    {%- endif -%}
{%- endmacro %}


{#
  The condition that a row of this model is of a day that holds events of the touched keys, so that
  the engine skips the rest of the table; true for a model whose rows have no day.
#}
{% macro on_touched_rows(alias, ranges) %}
    {{- in_ranges(alias ~ "." ~ day_of_rows(), ranges) if day_of_rows() else "true" -}}
{%- endmacro %}

{# The column that holds the day, or the first day, of this model's rows; none without one. #}
{% macro day_of_rows() %}
    {%- do return(
        "first_event_date" if config.meta_get("spans", false) else config.meta_get("dated", none)
    ) -%}
{% endmacro %}


{# The days that hold events of the touched keys, as a list of ranges (first, last). #}
{% macro touched_ranges(loads) %}
    {%- set parent = loaded_keys() -%}
    {%- set window = "load_id > " ~ loads.after ~ " and load_id <= " ~ loads.upto -%}
    {%- set day = "report_date" if config.meta_get("dated") == "report_date" else "event_date" -%}
    {%- set query -%}
        {%- if config.meta_get("follows") == "clickstream_session_base" and day == "event_date" %}
        {#- A session of two platforms has a row of each; the load may have touched but one. #}
        select p.first_event_date as first_date, p.last_event_date as last_date
        from {{ parent }} as p
        inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("p") }}
        {%- else %}
        select {{ day }} as first_date, {{ day }} as last_date from {{ parent }}
        where {{ window }} and {{ day }} is not null
        {%- endif %}
        union
        select {{ day }}, {{ day }} from {{ ledger("removal") }} where {{ window }}
        {%- if config.meta_get("spans", false) %}
        union
        select former.first_event_date, former.last_event_date
        from {{ this }} as former
        inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("former") }}
        {%- endif %}
    {%- endset -%}
    {%- set ranges = [] -%}
    {%- for range in run_query(query).rows -%}
        {%- do ranges.append((
            day_after(range[0], -config.meta_get("reaches_back", 0)),
            day_after(range[1], config.meta_get("reaches", 0)),
        )) -%}
    {%- endfor -%}
    {%- do return(merged(ranges)) -%}
{%- endmacro %}


{#
  Ranges of days (first, last) in order, with those that touch made one. Ranges, not the span of
  all: one event with a wrong clock is years away from the others.
#}
{% macro merged(ranges) %}
    {%- set found = [] -%}
    {%- for range in ranges | map("list") | sort -%}
        {%- if found and (range[0] - found[-1][1]).days <= 1 -%}
            {%- set previous = found.pop() -%}
            {%- do found.append((previous[0], [previous[1], range[1]] | max)) -%}
        {%- else -%}
            {%- do found.append((range[0], range[1])) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(found) -%}
{% endmacro %}


{# Ranges of days with some days more before and after each. #}
{% macro widened(ranges, days) %}
    {%- set wide = [] -%}
    {%- for first, last in ranges -%}
        {%- do wide.append((day_after(first, -days), day_after(last, days))) -%}
    {%- endfor -%}
    {%- do return(merged(wide)) -%}
{% endmacro %}


{# The day some days after another one (before it, if negative), not beyond the years 1 to 9999. #}
{% macro day_after(day, days) %}
    {%- set number = day.toordinal() + days -%}
    {%- set last = modules.datetime.date.max.toordinal() -%}
    {%- do return(modules.datetime.date.fromordinal([[number, 1] | max, last] | min)) -%}
{% endmacro %}


{# The condition that a date is in one of some ranges of days. #}
{% macro in_ranges(column, ranges) %}
    {%- if not ranges -%} false {%- else -%}
    (
        {%- for first, last in ranges %}
        {{ "or " if not loop.first }}{{ column }} between date '{{ first }}' and date '{{ last }}'
        {%- endfor %}
    )
    {%- endif -%}
{%- endmacro %}
