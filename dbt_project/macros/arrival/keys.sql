{#
  A model behind the event base rebuilds the keys that a load has touched, whole: the keys of its
  parent's rows that came with loads it has not taken in, and the keys of rows that those loads
  took out. So late, repeated and corrected events end in the same table as a full refresh.

  A model says in its config what the macros need, sets `loads = loads_to_take_in()`, reads its
  parent with `reopened(loads, ...)`, and adds `cast({{ loads.upto }} as bigint) as load_id`:

    meta.follows   name of the parent model
    meta.reopens   columns of the key; the parent and the removals have them under the same names
    meta.spans     true if the model keeps first_event_date and last_event_date of a key, which
                   may reach over more days than the load has events of
    meta.dated     true if the model has event_date
#}

{#
  What this run has to do, as a dict: `all` (start over: on the first run, on a full refresh, and
  when the ledger does not know the model), else the loads after `after` up to `upto`.
#}
{% macro loads_to_take_in() %}
    {%- set last = last_loads() if builds() else {} -%}
    {%- set upto = last.get(config.meta_get("follows"), 0) -%}
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
            {% if dated -%} where {{ on_touched_dates(alias ~ ".event_date", loads) }} {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# Statements that take out the rows of the keys to rebuild. #}
{% macro remove_reopened() %}
    {%- set loads = loads_to_take_in() -%}
    {%- if loads.all -%}
        {%- if is_incremental() and builds() -%}
            delete from {{ this }}
        {%- endif -%}
    {%- elif loads.after < loads.upto -%}
        delete from {{ this }} as old
        using ({{ touched_keys(loads) }}) as touched
        where {{ on_same_key("old") }}
        {%- if config.meta_get("dated", false) %}
            and {{ on_touched_dates("old.event_date", loads) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# Statements that note in the ledger what the model has taken in. #}
{% macro remember_reopened() %}
    {%- set loads = loads_to_take_in() -%}
    {%- if builds() and (loads.all or loads.after < loads.upto) -%}
        {{ remember_load(loads.upto) }}
    {%- endif -%}
{% endmacro %}


{% macro touched_keys(loads) %}
    {%- set key = config.meta_get("reopens") | join(", ") -%}
    select {{ key }} from {{ loaded_keys() }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
    union
    select {{ key }} from {{ ledger("removal") }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
{%- endmacro %}


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
  The condition that a date is one of the days that hold events of the touched keys, with the days
  spelled out, as ranges, so that the engine skips the rest of the history. Ranges, not the span of
  all: one event with a wrong clock is years away from the others.
#}
{% macro on_touched_dates(column, loads) %}
    {%- set parent = loaded_keys() -%}
    {%- set window = "load_id > " ~ loads.after ~ " and load_id <= " ~ loads.upto -%}
    {%- set first, last = "event_date", "event_date" -%}
    {%- if config.meta_get("follows") == "clickstream_session_base" -%}
        {%- set first, last = "first_event_date", "last_event_date" -%}
    {%- endif -%}
    {%- set query -%}
        select {{ first }} as first_date, {{ last }} as last_date from {{ parent }}
        where {{ window }}
        union
        select event_date, event_date from {{ ledger("removal") }} where {{ window }}
        {%- if config.meta_get("spans", false) %}
        union
        select old.first_event_date, old.last_event_date
        from {{ this }} as old
        inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("old") }}
        {%- endif %}
        order by 1, 2
    {%- endset -%}
    {%- set ranges = [] -%}
    {%- set day = modules.datetime.timedelta(days=1) -%}
    {%- for row in run_query(query).rows -%}
        {%- if ranges and row[0] <= ranges[-1][1] + day -%}
            {%- set previous = ranges.pop() -%}
            {%- do ranges.append((previous[0], [previous[1], row[1]] | max)) -%}
        {%- else -%}
            {%- do ranges.append((row[0], row[1])) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not ranges -%} false {%- else -%}
    (
        {%- for first, last in ranges %}
        {{ "or " if not loop.first }}{{ column }} between date '{{ first }}' and date '{{ last }}'
        {%- endfor %}
    )
    {%- endif -%}
{%- endmacro %}
