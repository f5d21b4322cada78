{#
  Sessions of events that their source sends no session id with: the events of a user on a platform
  of an app, until nothing follows for `session_idle_minutes`. The key is `#<user>-<ms of the first
  event>`. Events without a user can't be told apart: those of an app, platform and UTC day are one
  session, `#<day>`; that key they get when they are loaded.

  The event base gives the others the key `#` first. Behind each load, the keys are made anew of the
  sessions that the load may have changed: those of its users with an event on the days that it
  touches or a day next to them, whole. The idle time is a day at most, so nothing else can change.
  Keys that events had or have got are noted as removals, so that the models behind rebuild them.
#}

{# Statements that give the events of this load, and those next to them, the key of their session. #}
{% macro put_into_sessions() %}
    {%- set changes = file_changes() -%}
    {%- if builds() and (changes.all or changes.new or changes.gone) -%}
        {%- set days = [] if changes.all else days_without_ids(changes.load_id) -%}
        {%- if changes.all or days -%}
            {%- set reach = [] if changes.all else days_of_sessions(changes.load_id, days) %}
    insert into {{ ledger("session") }}
    {{ events_in_new_sessions(changes, days, reach) }};
    {%- if not changes.all %}
    insert into {{ ledger("removal") }} ({{ removal_columns() }})
    select distinct
        {{ changes.load_id }},
        app_id,
        event_date,
        user_pseudo_id,
        former_key,
        platform,
        report_date
    from {{ ledger("session") }}
    where former_key <> '#'
    union
    select distinct
        {{ changes.load_id }},
        app_id,
        event_date,
        user_pseudo_id,
        session_key,
        platform,
        report_date
    from {{ ledger("session") }}
    where former_key <> '#';
    {%- endif %}
    update {{ this }} as e
    set session_key = n.session_key
    from {{ ledger("session") }} as n
    where
        e.app_id = n.app_id
        and e.event_date = n.event_date
        and e.event_id = n.event_id
        {%- if not changes.all %}
        and {{ in_ranges("e.event_date", reach) }}
        {%- endif %};
    delete from {{ ledger("session") }};
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#
  The events whose session has another key now than they have: `former_key` and `session_key`.
  `days` are the days that the load touches, and `reach` those of the sessions to open, as ranges;
  without effect when all is made anew. Without `changed_only` also those that keep their key.
#}
{% macro events_in_new_sessions(changes, days, reach, changed_only=true) %}
    with events as (
        {%- if changes.all %}
        select e.*
        from {{ this }} as e
        where {{ has_no_session_id("e") }}
        {%- else %}
        select e.*
        from {{ this }} as e
        left join ({{ sessions_to_open(changes.load_id, days) }}) as opened
            on {{ on_same_session() }}
        where
            {{ has_no_session_id("e") }}
            and {{ in_ranges("e.event_date", reach) }}
            and (opened.session_key is not null or e.session_key = '#')
        {%- endif %}
    ),

    pauses as (
        select
            app_id,
            event_date,
            event_id,
            user_pseudo_id,
            platform,
            report_date,
            event_timestamp,
            session_key as former_key,
            case
                when event_timestamp - lag(event_timestamp) over (
                    partition by app_id, user_pseudo_id, platform
                    order by event_timestamp, event_id
                ) <= {{ var("session_idle_minutes") | int * 60000 }} then 0
                else 1
            end as is_first
        from events
    ),

    numbered as (
        select
            *,
            sum(is_first) over (
                partition by app_id, user_pseudo_id, platform
                order by event_timestamp, event_id
                rows between unbounded preceding and current row
            ) as nth_session
        from pauses
    ),

    keyed as (
        select
            *,
            '#' || user_pseudo_id || '-' || cast(
                min(event_timestamp) over (
                    partition by app_id, user_pseudo_id, platform, nth_session
                ) as varchar
            ) as session_key
        from numbered
    )

    select
        app_id,
        event_date,
        event_id,
        user_pseudo_id,
        platform,
        report_date,
        former_key,
        session_key
    from keyed
    {%- if changed_only %}
    where session_key <> former_key
    {%- endif %}
{%- endmacro %}


{# Whether an event is one that its user's idle time puts into a session. #}
{% macro has_no_session_id(alias) %}
    {{- alias }}.user_pseudo_id is not null and coalesce({{ alias }}.session_id, '') = ''
{%- endmacro %}


{# The users without session ids whose events a load has brought or taken away. #}
{% macro users_without_ids(load_id) %}
    {{- adapter.dispatch("users_without_ids", "clickstream")(load_id) -}}
{% endmacro %}

{% macro default__users_without_ids(load_id) %}
    select e.app_id, e.user_pseudo_id, e.platform, e.event_date
    from {{ this }} as e
    where e.load_id = {{ load_id }} and {{ has_no_session_id("e") }}
    union
    select app_id, user_pseudo_id, platform, event_date
    from {{ ledger("removal") }}
    where load_id = {{ load_id }} and user_pseudo_id is not null and session_key like '#%'
{%- endmacro %}


{# The days of those events and the days next to them, as ranges. #}
{% macro days_without_ids(load_id) %}
    {%- set query -%}
        select distinct event_date, event_date as last_date from ({{ users_without_ids(load_id) }})
        as touched
    {%- endset -%}
    {%- do return(widened(run_query(query).rows, 1)) -%}
{% endmacro %}


{# The sessions of those users that have an event on these days. #}
{% macro sessions_to_open(load_id, days) %}
    select distinct e.app_id, e.user_pseudo_id, e.platform, e.session_key
    from {{ events_with_keys() }} as e
    inner join (
        select distinct app_id, user_pseudo_id, platform
        from ({{ users_without_ids(load_id) }}) as loaded
    ) as touched
        on
            e.app_id = touched.app_id
            and e.user_pseudo_id = touched.user_pseudo_id
            and {{ same("e.platform", "touched.platform") }}
    where
        {{ has_no_session_id("e") }}
        and e.session_key <> '#'
        and {{ in_ranges("e.event_date", days) }}
{%- endmacro %}


{% macro on_same_session() %}
    e.app_id = opened.app_id
    and e.user_pseudo_id = opened.user_pseudo_id
    and {{ same("e.platform", "opened.platform") }}
    and e.session_key = opened.session_key
{%- endmacro %}


{#
  The days that the sessions to open reach over, as ranges: a session has an event on every day that
  it goes on, so these are widened until no session goes on beyond them, by more at each step.
#}
{% macro days_of_sessions(load_id, days) %}
    {%- set found = namespace(days=days, more=true) -%}
    {%- for step in range(16) -%}
        {%- if found.more -%}
            {%- set wider = widened(found.days, 2 ** step) -%}
            {%- set query -%}
                select count(*)
                from {{ events_with_keys() }} as e
                inner join ({{ sessions_to_open(load_id, days) }}) as opened
                    on {{ on_same_session() }}
                where
                    {{ in_ranges("e.event_date", wider) }}
                    and not {{ in_ranges("e.event_date", found.days) }}
            {%- endset -%}
            {%- set found.more = run_query(query).rows[0][0] > 0 -%}
            {%- set found.days = wider -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(found.days) -%}
{% endmacro %}


{# The key that an event without session id has got by earlier loads, `#` before the first one. #}
{% macro kept_session_key() %}
    {{- adapter.dispatch("kept_session_key", "clickstream")() -}}
{% endmacro %}

{% macro default__kept_session_key() %}
    {{- "'#'" -}}
{% endmacro %}


{# The relation that tells which events are in which session. #}
{% macro events_with_keys() %}
    {{- return(adapter.dispatch("events_with_keys", "clickstream")()) -}}
{% endmacro %}

{% macro default__events_with_keys() %}
    {%- do return(this) -%}
{% endmacro %}
