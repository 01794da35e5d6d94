@CriticalCPUUsage
Feature: CriticalCPUUsage
  The instances of a revision have used more than 95 % of their CPU for five minutes.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then CriticalCPUUsage fires
    And assess puts CriticalCPUUsage first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then CriticalCPUUsage clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault     | platform   | mitigation        | restore                  |
      | rush-hour | Cloud Run  | mitigate.scale-up | mitigate.undo            |
      | rush-hour | Kubernetes | mitigate.scale-up | mitigate.undo            |
      | hot-loop  | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | hot-loop  | Kubernetes | mitigate.rollback | nothing                  |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then CriticalCPUUsage fires
    And assess puts CriticalCPUUsage first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then CriticalCPUUsage keeps firing for 10 minutes of the service's time

    Examples:
      | fault     | platform   | mitigation        |
      | rush-hour | Cloud Run  | mitigate.scale-up |
      | rush-hour | Kubernetes | mitigate.scale-up |
      | hot-loop  | Cloud Run  | mitigate.rollback |
      | hot-loop  | Kubernetes | mitigate.rollback |
