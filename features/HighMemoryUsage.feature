@HighMemoryUsage
Feature: HighMemoryUsage
  An instance has used more than 85 % of its memory for ten minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighMemoryUsage fires
    And assess puts HighMemoryUsage first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then HighMemoryUsage clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault           | platform   | mitigation        | restore                  |
      | export-burst    | Cloud Run  | mitigate.restart  | mitigate.undo            |
      | export-burst    | Kubernetes | mitigate.restart  | mitigate.undo            |
      | oversized-cache | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | oversized-cache | Kubernetes | mitigate.rollback | nothing                  |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighMemoryUsage fires
    And assess puts HighMemoryUsage first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighMemoryUsage keeps firing for 10 minutes of the service's time

    Examples:
      | fault           | platform   | mitigation        |
      | export-burst    | Cloud Run  | mitigate.restart  |
      | export-burst    | Kubernetes | mitigate.restart  |
      | oversized-cache | Cloud Run  | mitigate.rollback |
      | oversized-cache | Kubernetes | mitigate.rollback |
