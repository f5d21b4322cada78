{%- set funnels = var("funnels") %}
{%- if funnels %}
with {% for funnel in funnels %}
{{ funnel_relations(funnel, loop.index) }}{{ "," if not loop.last }}
{% endfor %}
{%- for funnel in funnels %}
{%- set number = loop.index %}
{%- set last_funnel = loop.last %}
{%- for step in funnel.steps %}
select
    {{ string_list([funnel.name]) }} as funnel,
    app_id,
    {{ string_list([funnel.by]) if funnel.by else "cast(null as varchar)" }} as dimension,
    dimension_value,
    {{ loop.index }} as step,
    {{ string_list([step.event]) }} as event_name,
    step_{{ loop.index }} as user_count,
    {{ ratio("step_" ~ loop.index, "step_1") }} as share_of_first_step
from funnel_{{ number }}
{{ "union all" if not (loop.last and last_funnel) }}
{%- endfor %}
{%- endfor %}
{%- else %}
select
    cast(null as varchar) as funnel,
    app_id,
    cast(null as varchar) as dimension,
    cast(null as varchar) as dimension_value,
    1 as step,
    event_name,
    cast(0 as bigint) as user_count,
    cast(0 as double precision) as share_of_first_step
from {{ ref("clickstream_event_base") }}
where false
{%- endif %}
