{#
  The nested parts of an event, and times, in the words of each engine.

  A public name only dispatches; a body is named after its engine and is in that engine's file
  (duckdb.sql, athena.sql, redshift.sql). An engine without a body parses, and says at run time
  which macro it lacks.
#}

{% macro not_written_for_this_engine(name) %}
    {%- if execute -%}
        {% do exceptions.raise_compiler_error(
            "the macro " ~ name ~ " has no body for " ~ target.type
            ~ " yet: run dbt with --target duckdb"
        ) %}
    {%- endif -%}
    null
{% endmacro %}


{#
  The value of one parameter of an event, as `string`, `int`, `float` or `double`; null when the
  event lacks it or holds it under another type. The first one counts when a key is sent twice.
  The key is any text: a body writes it as `string_list([key])`.

  `event_param('_session_id', 'string')`
#}
{% macro event_param(key, type) %}
    {{- return(adapter.dispatch("event_param", "clickstream")(key, type)) -}}
{% endmacro %}

{% macro default__event_param(key, type) %}
    {{- not_written_for_this_engine("event_param") -}}
{% endmacro %}


{#
  A relation of events, with what `event_param` needs to read some parameters, a list of (key, type),
  of the events with some names. It takes the alias `e`.

  `from {{ with_params(ref("clickstream_event_base"), [("price", "double")], ["order"]) }} as e`
#}
{% macro with_params(relation, params, names) %}
    {{- return(adapter.dispatch("with_params", "clickstream")(relation, params, names)) -}}
{% endmacro %}

{% macro default__with_params(relation, params, names) %}
    {{- relation -}}
{% endmacro %}


{#
  A scalar inside of a nested column, as `string`, `int`, `float` or `double`. The path begins with
  the alias of its relation: `nested("e.device.carrier", "string")`.
#}
{% macro nested(path, type) %}
    {{- return(adapter.dispatch("nested", "clickstream")(path, type)) -}}
{% endmacro %}

{% macro default__nested(path, type) %}
    {{- path -}}
{% endmacro %}


{#
  The rows of a relation, each once for every element of its list `column`, as `item`:
  `nested("e.item.value.string_value", "string")`. A row whose list is empty or null is left out.

  `from {{ unnested("events", "event_params") }} as e`
#}
{% macro unnested(relation, column) %}
    {{- return(adapter.dispatch("unnested", "clickstream")(relation, column)) -}}
{% endmacro %}

{% macro default__unnested(relation, column) %}
    (select r.*, t.item from {{ relation }} as r cross join unnest(r.{{ column }}) as t(item))
{%- endmacro %}


{#
  A typed value as text: the first of string, int, float and double that is neither null nor
  empty (seed 000, Activity report, event parameter query).

  Integers print plain, doubles in the shortest form that reads back as the same number (`0.1`,
  `1.0`, `1e+20`).
#}
{% macro value_text(value) %}
    coalesce(
        nullif({{ nested(value ~ ".string_value", "string") }}, ''),
        cast({{ nested(value ~ ".int_value", "int") }} as varchar(32)),
        {{ number_text(nested(value ~ ".float_value", "float")) }},
        {{ number_text(nested(value ~ ".double_value", "double")) }}
    )
{% endmacro %}

{# A number of a floating type as text. #}
{% macro number_text(number) %}
    {{- return(adapter.dispatch("number_text", "clickstream")(number)) -}}
{% endmacro %}

{% macro default__number_text(number) %}
    {{- "cast(%s as varchar)" % number -}}
{% endmacro %}


{#
  A number that fits 32 bits, else null. Seed 000 casts durations to `int`, where one client that
  sends nonsense fails the whole view, or makes a sum overflow.
#}
{% macro int32(value) %}
    case when {{ value }} between -2147483648 and 2147483647 then {{ value }} end
{%- endmacro %}


{#
  Milliseconds since 1970 as a timestamp without zone, cut to the `day` or `hour` in the reporting
  time zone. Null outside of the years 1970 to 9999: clients send any number. In zones other than
  UTC the last 14 hours are null too, so that no clock shows the year 10000, which many clients
  can't read.
#}
{% macro ms_trunc(unit, ms) %}
    {%- set time = ms_to_timestamp(ms) -%}
    {%- set last = 253402300799999 -%}
    {%- if var("time_zone") != "UTC" -%}
        {%- set time = local_time(time, var("time_zone")) -%}
        {%- set last = last - 14 * 3600 * 1000 -%}
    {%- endif %}
    case
        when {{ ms }} between 0 and {{ last }}
            then cast(date_trunc('{{ unit }}', {{ time }}) as timestamp)
    end
{% endmacro %}


{# Milliseconds since 1970 as a timestamp without zone, in UTC. #}
{% macro ms_to_timestamp(ms) %}
    {{- return(adapter.dispatch("ms_to_timestamp", "clickstream")(ms)) -}}
{% endmacro %}

{% macro default__ms_to_timestamp(ms) %}
    {{- not_written_for_this_engine("ms_to_timestamp") -}}
{% endmacro %}


{# The time of the query as a timestamp without zone, in UTC. #}
{% macro now_in_utc() %}
    {{- return(adapter.dispatch("now_in_utc", "clickstream")()) -}}
{% endmacro %}

{% macro default__now_in_utc() %}
    {{- not_written_for_this_engine("now_in_utc") -}}
{% endmacro %}


{#
  A timestamp without zone in UTC as the clocks of a time zone show it, by the rules of IANA.

  `local_time("epoch_ms(0)", "Europe/Berlin")`
#}
{% macro local_time(timestamp, zone) %}
    {{- return(adapter.dispatch("local_time", "clickstream")(timestamp, zone)) -}}
{% endmacro %}

{% macro default__local_time(timestamp, zone) %}
    {{- not_written_for_this_engine("local_time") -}}
{% endmacro %}


{# Whether two values are equal, where null equals null: joins on keys that may be null. #}
{% macro same(left, right) %}
    {{- return(adapter.dispatch("same", "clickstream")(left, right)) -}}
{% endmacro %}

{% macro default__same(left, right) %}
    {{- "%s is not distinct from %s" % (left, right) -}}
{% endmacro %}


{#
  Says how the table of a model is partitioned, where the engine partitions: on Athena by months,
  not days, for a statement there writes 100 partitions at most.

  `partitioned_by("app_id", "month(event_date)")`
#}
{% macro partitioned_by() %}
    {{- adapter.dispatch("partitioned_by", "clickstream")(*varargs) -}}
{% endmacro %}

{% macro default__partitioned_by() %}
    {%- do varargs -%}
{% endmacro %}


{#
  The value that the first row of a group has (with `last` the last one), in the order of columns
  that together are of one row only and never null. It is an aggregate; `numbered` gives the column
  that it needs on engines without such aggregates. With `among`, of the rows that a condition holds
  for: `numbered` takes it as a part of the key then.

      select a, {{ value_at("b", "nth", ["time", "id"]) }}
      from (select * {{ numbered("nth", ["a"], ["time", "id"]) }} from t) as numbered
      group by a
#}
{% macro value_at(value, nth, order, last=false, among=none) %}
    {{- return(adapter.dispatch("value_at", "clickstream")(value, nth, order, last, among)) -}}
{% endmacro %}

{% macro default__value_at(value, nth, order, last, among) %}
    {%- set condition = (among ~ " and " if among else "") ~ nth ~ " = 1" -%}
    {{- "max(case when %s then %s end)" % (condition, value) -}}
{% endmacro %}

{% macro numbered(nth, key, order, last=false) %}
    {{- return(adapter.dispatch("numbered", "clickstream")(nth, key, order, last)) -}}
{% endmacro %}

{% macro default__numbered(nth, key, order, last) %}
    {%- set way = " desc" if last else "" -%}
    , row_number() over (
        partition by {{ key | join(", ") }}
        order by {{ order | join(way ~ ", ") }}{{ way }}
    ) as {{ nth }}
{%- endmacro %}


{#
  The value that the next row of a group has, of the rows whose `flag` is 1: a window, for such rows
  only. The order is that of columns that together are of one row only.

  `case when chosen = 1 then {{ next_among("b", "chosen", ["a"], ["time", "id"]) }} end`
#}
{% macro next_among(value, flag, key, order) %}
    {{- return(adapter.dispatch("next_among", "clickstream")(value, flag, key, order)) -}}
{% endmacro %}

{% macro default__next_among(value, flag, key, order) %}
    {{- "lead(%s) over (partition by %s, %s order by %s)"
        % (value, key | join(", "), flag, order | join(", ")) -}}
{% endmacro %}


{#
  The last row of each group of a relation, in the order of expressions that are never null: its key
  and some further columns. Of rows that are equal in the order any one.

  `from {{ last_rows("t", ["a"], ["b", "c"], ["time", "id"]) }} as last_ones`
#}
{% macro last_rows(relation, key, columns, order) %}
    {{- return(adapter.dispatch("last_rows", "clickstream")(relation, key, columns, order)) -}}
{% endmacro %}

{% macro default__last_rows(relation, key, columns, order) %}
    (
        select {{ (key + columns) | join(", ") }}
        from (
            select
                *
                {{ numbered("nth_from_last", key, order, last=true) }}
            from {{ relation }}
        ) as numbered
        where nth_from_last = 1
    )
{%- endmacro %}
