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
    pre_hook       "{{ remove_reopened() }}"
    post_hook      "{{ remember_reopened() }}"
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
            {% if dated -%} where {{ alias }}.event_date {{ touched_dates(loads) }} {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# pre-hook, in the model's transaction: takes out the rows of the keys to rebuild. #}
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
            and old.event_date {{ touched_dates(loads) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# post-hook, in the model's transaction: notes in the ledger what the model has taken in. #}
{% macro remember_reopened() %}
    {%- set loads = loads_to_take_in() -%}
    {%- if builds() and (loads.all or loads.after < loads.upto) -%}
        {{ remember_load(loads.upto) }}
    {%- endif -%}
{% endmacro %}


{% macro touched_keys(loads) %}
    {%- set key = config.meta_get("reopens") | join(", ") -%}
    select {{ key }} from {{ ref(config.meta_get("follows")) }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
    union
    select {{ key }} from {{ ledger("removal") }}
    where load_id > {{ loads.after }} and load_id <= {{ loads.upto }}
{%- endmacro %}


{% macro on_same_key(alias) %}
    {%- for column in config.meta_get("reopens") -%}
        {{ same(alias ~ "." ~ column, "touched." ~ column) }}{{ " and " if not loop.last }}
    {%- endfor -%}
{% endmacro %}


{#
  A condition on event_date: the days that hold all events of the touched keys, spelled out so
  that the engine skips the rest of the history.
#}
{% macro touched_dates(loads) %}
    {%- set parent = ref(config.meta_get("follows")) -%}
    {%- set window = "load_id > " ~ loads.after ~ " and load_id <= " ~ loads.upto -%}
    {%- set first, last = "event_date", "event_date" -%}
    {%- if config.meta_get("follows") == "clickstream_session_base" -%}
        {%- set first, last = "first_event_date", "last_event_date" -%}
    {%- endif -%}
    {%- set query -%}
        select min(first_date), max(last_date) from (
            select min({{ first }}) as first_date, max({{ last }}) as last_date
            from {{ parent }} where {{ window }}
            union all
            select min(event_date), max(event_date) from {{ ledger("removal") }} where {{ window }}
            {%- if config.meta_get("spans", false) %}
            union all
            select min(old.first_event_date), max(old.last_event_date)
            from {{ this }} as old
            inner join ({{ touched_keys(loads) }}) as touched on {{ on_same_key("old") }}
            {%- endif %}
        ) as dates
    {%- endset -%}
    {%- set row = run_query(query).rows[0] -%}
    {%- if row[0] is none -%}
        is null
    {%- else -%}
        between date '{{ row[0] }}' and date '{{ row[1] }}'
    {%- endif -%}
{%- endmacro %}
