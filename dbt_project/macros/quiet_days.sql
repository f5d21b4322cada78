{#
  The days without a row that follow on the days of a relation, app by app: up to the next day that
  has one, today, and 29 days, as far as a count of 30 days reaches. `days` is a relation with
  app_id and report_date, one row for each.
#}
{% macro quiet_days(days) %}
    select
        followed.app_id,
        cast(
            {{ dbt.dateadd("day", "followed.day_diff", "followed.report_date") }} as date
        ) as report_date
    from (
        select
            bounds.app_id,
            bounds.report_date,
            cast(numbers.generated_number as integer) as day_diff
        from (
            select
                app_id,
                report_date,
                lead(report_date) over (partition by app_id order by report_date) as next_date
            from {{ days }}
        ) as bounds
        cross join ({{ dbt.generate_series(29) }}) as numbers
        -- A clock that is ahead makes no days of those to come.
        where
            {{ dbt.datediff("bounds.report_date", "bounds.next_date", "day") }}
            > numbers.generated_number
            and {{ dbt.datediff("bounds.report_date", today(), "day") }}
            >= numbers.generated_number
    ) as followed
{% endmacro %}
