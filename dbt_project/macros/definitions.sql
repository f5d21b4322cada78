{#
  The definitions of the project in SQL; their values are vars (dbt_project.yml), their formulas in
  docs/definitions.md.
#}

{# Whether a name is one of some names: false when there is none. #}
{% macro is_one_of(column, names) %}
    {{- column ~ " in (" ~ string_list(names) ~ ")" if names else "false" -}}
{% endmacro %}


{# Whether an event shows a page or a screen. #}
{% macro is_view_event(column) %}
    {{- is_one_of(column, var("view_events") | list) -}}
{% endmacro %}


{# Name of the page or screen that an event shows, null for other events. #}
{% macro view_name() %}
    {%- if var("view_events") -%}
    case
        {%- for name, parameter in var("view_events").items() %}
        when event_name = {{ string_list([name]) }} then {{ event_param(parameter, "string") }}
        {%- endfor %}
    end
    {%- else -%} cast(null as varchar) {%- endif -%}
{% endmacro %}


{# Whether a session is engaged: it lasts, or has views, beyond the project's bounds. #}
{% macro is_engaged(duration, views) %}
    {{- duration }} > {{ var("engaged_session_ms") | int }} or {{ views }} > {{
        var("engaged_session_views") | int
    }}
{%- endmacro %}


{#
  The start of a session that an event tells, in ms; null where it can't be. No session began before
  the year 2000, as a 0 or seconds would have it, nor more than ten minutes behind an event of its own:
  so much a clock may be set back in between, and so much processing leaves it alone.
#}
{% macro told_start(start, time) %}
    case
        when {{ start }} between 946684800000 and {{ time }} + 600000 then {{ start }}
    end
{%- endmacro %}


{#
  When something was known, in ms: at `time`, or when the event arrived, if that is sooner. A client's
  clock may be years ahead, and what it sent must not stay the latest for ever.
#}
{% macro known_at(time, arrival) %}
    case when {{ time }} > {{ arrival }} then {{ arrival }} else {{ time }} end
{%- endmacro %}


{# Day of an event in the reporting time zone. #}
{% macro report_day(event_date, ms) %}
    {%- if var("time_zone") == "UTC" -%}
        {{ event_date }}
    {%- else -%}
        cast({{ local_time(ms_to_timestamp(ms), var("time_zone")) }} as date)
    {%- endif -%}
{% endmacro %}


{# Today in the reporting time zone. #}
{% macro today() %}
    {%- set now = now_in_utc() -%}
    cast({{ now if var("time_zone") == "UTC" else local_time(now, var("time_zone")) }} as date)
{%- endmacro %}


{# Most days that a day in the reporting time zone is before or after the UTC day of its events. #}
{% macro report_day_margin() %}
    {%- do return(0 if var("time_zone") == "UTC" else 1) -%}
{% endmacro %}


{# First day of the `day`, or of the `week` by the project's week start, that a date is in. #}
{% macro period_of(unit, date) %}
    {%- set weekdays = [
        "monday", "sunday", "saturday", "friday", "thursday", "wednesday", "tuesday"
    ] -%}
    {#- Days from the week start to Monday, where the engines' weeks begin. -#}
    {%- set shift = weekdays.index(var("week_start")) if unit == "week" else 0 -%}
    {%- if shift -%}
    cast({{ dbt.dateadd(
        "day", -shift, dbt.date_trunc(unit, dbt.dateadd("day", shift, date))
    ) }} as date)
    {%- else -%}
    cast({{ dbt.date_trunc(unit, date) }} as date)
    {%- endif -%}
{% endmacro %}


{# One number by another as a double, null for a division by nothing. #}
{% macro ratio(part, whole) %}
    cast({{ part }} as double precision) / nullif({{ whole }}, 0)
{%- endmacro %}
