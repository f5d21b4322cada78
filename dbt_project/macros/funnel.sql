{#
  A funnel (docs/definitions.md) as relations of a `with` clause; `funnel_<number>` has for each app
  and value of the dimension the users that got to each step, in the columns step_1, step_2, ...

  A user's events are in the order of time and event_id. Behind each event the nearest one of the
  next step is looked for, so that no event counts for two steps.

  With `loads` (keys.sql) by the day of the first step as well, for the days that these loads touch.
#}
{% macro funnel_relations(funnel, number, loads=none) %}
    {%- set steps = funnel.steps | length -%}
    {%- set names = funnel.steps | map(attribute="event") | unique | list -%}
    {%- set window = funnel.window_minutes | int * 60000 -%}
    {%- set key = ["app_id", "dimension_value"] + (["report_date"] if loads else []) -%}
    {%- set events = ref("clickstream_event_base") -%}
    {%- if loads and not loads.all -%}
        {%- set events = events_of_days(
            events, widened(touched_ranges(loads), funnel_days([funnel]))
        ) -%}
    {%- endif -%}
events_{{ number }} as (
    select
        app_id,
        user_pseudo_id,
        event_timestamp,
        report_date,
        {{ column_name(funnel.by) if funnel.by else "cast(null as varchar)" }} as dimension_value,
        {%- for step in funnel.steps %}
        case when {{ is_step(step) }} then 1 else 0 end as is_step_{{ loop.index }},
        {%- endfor %}
        row_number() over (
            partition by app_id, user_pseudo_id order by event_timestamp, event_id
        ) as nth
    from {{ with_params(events, funnel_params([funnel]), names) }} as e
    where user_pseudo_id is not null and {{ is_one_of("event_name", names) }}
),

ahead_{{ number }} as (
    select
        *
        {%- for step in range(2, steps + 1) %},
        min(case when is_step_{{ step }} = 1 then nth end) over (
            partition by app_id, user_pseudo_id
            order by nth
            rows between 1 following and unbounded following
        ) as next_{{ step }}
        {%- endfor %}
    from events_{{ number }}
),

starts_{{ number }} as (
    select a.*
    from ahead_{{ number }} as a
    {{ reopened(loads, "a", dated=false) if loads }}
),

funnel_{{ number }} as (
    select
        s1.{{ key | join(", s1.") }}
        {%- for step in range(1, steps + 1) %},
        count(distinct s{{ step }}.user_pseudo_id) as step_{{ step }}
        {%- endfor %}
    from starts_{{ number }} as s1
    {%- for step in range(2, steps + 1) %}
    left join ahead_{{ number }} as s{{ step }}
        on
            s1.app_id = s{{ step }}.app_id
            and s1.user_pseudo_id = s{{ step }}.user_pseudo_id
            and s{{ step - 1 }}.next_{{ step }} = s{{ step }}.nth
            and s{{ step }}.event_timestamp <= s1.event_timestamp + {{ window }}
    {%- endfor %}
    where s1.is_step_1 = 1
    group by s1.{{ key | join(", s1.") }}
)
{%- endmacro %}


{# The events of some days in the reporting time zone. #}
{% macro events_of_days(events, ranges) %}
    (
        select *
        from {{ events }}
        where
            {{ in_ranges("report_date", ranges) }}
            and {{ in_ranges("event_date", widened(ranges, report_day_margin())) }}
    )
{%- endmacro %}


{# How many days after its first step a funnel may end; a day of a zone may have an hour less. #}
{% macro funnel_days(funnels) %}
    {%- set found = namespace(minutes=0) -%}
    {%- for funnel in funnels -%}
        {%- set found.minutes = [found.minutes, funnel.window_minutes | int] | max -%}
    {%- endfor -%}
    {%- do return((found.minutes + 1439) // 1440 + report_day_margin()) -%}
{% endmacro %}


{#
  The rows of clickstream_funnels, or with `loads` those of clickstream_funnel_daily: for each
  funnel, app, value of the dimension and step the users that got to it.
#}
{% macro funnel_steps(funnels, loads=none) %}
{%- set day = "report_date," if loads else "" %}
{%- set load_id = ", cast(" ~ loads.upto ~ " as bigint) as load_id" if loads else "" %}
{%- if funnels %}
with {% for funnel in funnels %}
{{ funnel_relations(funnel, loop.index, loads) }}{{ "," if not loop.last }}
{% endfor %}
{%- for funnel in funnels %}
{%- set number = loop.index %}
{%- set last_funnel = loop.last %}
{%- for step in funnel.steps %}
select
    {{ string_list([funnel.name]) }} as funnel,
    app_id,
    {{ day }}
    {{ string_list([funnel.by]) if funnel.by else "cast(null as varchar)" }} as dimension,
    dimension_value,
    {{ loop.index }} as step,
    {{ string_list([step.event]) }} as event_name,
    step_{{ loop.index }} as user_count,
    {{ ratio("step_" ~ loop.index, "step_1") }} as share_of_first_step
    {{- load_id }}
from funnel_{{ number }}
{{ "union all" if not (loop.last and last_funnel) }}
{%- endfor %}
{%- endfor %}
{%- else %}
select
    cast(null as varchar) as funnel,
    app_id,
    {{ day }}
    cast(null as varchar) as dimension,
    cast(null as varchar) as dimension_value,
    1 as step,
    event_name,
    cast(0 as bigint) as user_count,
    cast(0 as double precision) as share_of_first_step
    {{- load_id }}
from {{ ref("clickstream_event_base") }}
where false
{%- endif %}
{% endmacro %}


{# A name that is nothing but a column's: vars that are given by hand are checked nowhere else. #}
{% macro column_name(name) %}
    {%- if not modules.re.fullmatch("[a-z_]+", name) -%}
        {%- do exceptions.raise_compiler_error("a funnel is by " ~ name ~ ": write a column") -%}
    {%- endif -%}
    {{- name -}}
{% endmacro %}


{# The parameters that the conditions of funnels read, as a list of (key, type). #}
{% macro funnel_params(funnels) %}
    {%- set found = [] -%}
    {%- for funnel in funnels -%}
        {%- for step in funnel.steps -%}
            {%- for condition in step.where -%}
                {%- for type in ["string", "int", "float", "double"] -%}
                    {%- do found.append((condition.parameter, type)) -%}
                {%- endfor -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do return(found | unique | list) -%}
{% endmacro %}


{# Whether an event is one of a step. #}
{% macro is_step(step) %}
    {{- is_one_of("event_name", [step.event]) -}}
    {%- for condition in step.where %}
            and {{ holds(condition) }}
    {%- endfor -%}
{% endmacro %}


{# Whether a condition on a parameter holds. Numbers compare by value, texts as sent. #}
{% macro holds(condition) %}
    {%- set text = event_param(condition.parameter, "string") -%}
    {%- set number -%}
        coalesce(
            cast({{ event_param(condition.parameter, "int") }} as double precision),
            cast({{ event_param(condition.parameter, "float") }} as double precision),
            {{ event_param(condition.parameter, "double") }}
        )
    {%- endset -%}
    {%- if condition.at_least is not none -%}
        {{ number }} >= {{ condition.at_least | float }}
    {%- elif condition.at_most is not none -%}
        {{ number }} <= {{ condition.at_most | float }}
    {%- elif condition.one_of is not none -%}
        {{ text }} in ({{ string_list(condition.one_of) }})
    {%- elif condition.equals is string -%}
        {{ text }} = {{ string_list([condition.equals]) }}
    {%- else -%}
        {{ number }} = {{ condition.equals | float }}
    {%- endif -%}
{% endmacro %}
