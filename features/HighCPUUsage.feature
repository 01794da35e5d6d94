@HighCPUUsage
Feature: HighCPUUsage
  The instances of a revision have used more than 80 % of their CPU for ten minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighCPUUsage fires
    And assess puts HighCPUUsage first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then HighCPUUsage clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault     | platform   | mitigation        | restore                  |
      | busy-hour | Cloud Run  | mitigate.scale-up | mitigate.undo            |
      | busy-hour | Kubernetes | mitigate.scale-up | mitigate.undo            |
      | busy-poll | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | busy-poll | Kubernetes | mitigate.rollback | nothing                  |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then HighCPUUsage fires
    And assess puts HighCPUUsage first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then HighCPUUsage keeps firing for 10 minutes of the service's time

    Examples:
      | fault     | platform   | mitigation        |
      | busy-hour | Cloud Run  | mitigate.scale-up |
      | busy-hour | Kubernetes | mitigate.scale-up |
      | busy-poll | Cloud Run  | mitigate.rollback |
      | busy-poll | Kubernetes | mitigate.rollback |
