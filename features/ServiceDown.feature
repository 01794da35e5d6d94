@ServiceDown
Feature: ServiceDown
  No instance of the service has answered Prometheus for a minute.

  @loop
  Scenario Outline: <mitigation> mends <fault> on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then ServiceDown fires
    And assess puts ServiceDown first and recommends <mitigation>
    And a dry run of <mitigation> changes nothing
    When the responder runs <mitigation>
    Then ServiceDown clears
    And requests succeed again
    When the cause of <fault> is fixed
    And the responder restores with <restore>
    Then the service is back at its baseline

    Examples:
      | fault               | platform   | mitigation        | restore                  |
      | crash-under-traffic | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | crash-under-traffic | Kubernetes | mitigate.rollback | nothing                  |
      | lost-image          | Cloud Run  | mitigate.rollback | mitigate.release-traffic |
      | frozen-instances    | Cloud Run  | mitigate.restart  | mitigate.undo            |
      | frozen-instances    | Kubernetes | mitigate.restart  | mitigate.undo            |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red on <platform>
    Given the service is healthy and under load on <platform>
    When the fault <fault> breaks the service
    Then ServiceDown fires
    And assess puts ServiceDown first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then ServiceDown keeps firing for 10 minutes of the service's time

    Examples:
      | fault               | platform   | mitigation        |
      | crash-under-traffic | Cloud Run  | mitigate.rollback |
      | crash-under-traffic | Kubernetes | mitigate.rollback |
      | lost-image          | Cloud Run  | mitigate.rollback |
      | frozen-instances    | Cloud Run  | mitigate.restart  |
      | frozen-instances    | Kubernetes | mitigate.restart  |
