{#
  A funnel (docs/definitions.md) as relations of a `with` clause; `funnel_<number>` has for each app
  and value of the dimension the users that got to each step, in the columns step_1, step_2, ...

  A user's events are in the order of time and event_id. Behind each event the nearest one of the
  next step is looked for, so that no event counts for two steps.
#}
{% macro funnel_relations(funnel, number) %}
    {%- set steps = funnel.steps | length -%}
    {%- set names = funnel.steps | map(attribute="event") | unique | list -%}
    {%- set window = funnel.window_minutes | int * 60000 -%}
events_{{ number }} as (
    select
        app_id,
        user_pseudo_id,
        event_timestamp,
        {{ column_name(funnel.by) if funnel.by else "cast(null as varchar)" }} as dimension_value,
        {%- for step in funnel.steps %}
        case when {{ is_step(step) }} then 1 else 0 end as is_step_{{ loop.index }},
        {%- endfor %}
        row_number() over (
            partition by app_id, user_pseudo_id order by event_timestamp, event_id
        ) as nth
    from {{ with_params(ref("clickstream_event_base"), funnel_params([funnel]), names) }} as e
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

funnel_{{ number }} as (
    select
        s1.app_id,
        s1.dimension_value
        {%- for step in range(1, steps + 1) %},
        count(distinct s{{ step }}.user_pseudo_id) as step_{{ step }}
        {%- endfor %}
    from ahead_{{ number }} as s1
    {%- for step in range(2, steps + 1) %}
    left join ahead_{{ number }} as s{{ step }}
        on
            s1.app_id = s{{ step }}.app_id
            and s1.user_pseudo_id = s{{ step }}.user_pseudo_id
            and s{{ step - 1 }}.next_{{ step }} = s{{ step }}.nth
            and s{{ step }}.event_timestamp <= s1.event_timestamp + {{ window }}
    {%- endfor %}
    where s1.is_step_1 = 1
    group by s1.app_id, s1.dimension_value
)
{%- endmacro %}


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
