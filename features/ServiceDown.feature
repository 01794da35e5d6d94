@ServiceDown
Feature: ServiceDown
  No instance of the service has answered Prometheus for a minute.

  Background:
    Given the service is healthy and under load

  @loop
  Scenario Outline: <mitigation> mends <fault>
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
      | fault               | mitigation        | restore                  |
      | crash-under-traffic | mitigate.rollback | mitigate.release-traffic |
      | lost-image          | mitigate.rollback | mitigate.release-traffic |
      | frozen-instances    | mitigate.restart  | mitigate.undo            |

  @control
  Scenario Outline: without <mitigation>, <fault> stays red
    When the fault <fault> breaks the service
    Then ServiceDown fires
    And assess puts ServiceDown first and recommends <mitigation>
    When the responder withholds <mitigation>
    Then ServiceDown keeps firing for 10 minutes of the service's time

    Examples:
      | fault               | mitigation        |
      | crash-under-traffic | mitigate.rollback |
      | lost-image          | mitigate.rollback |
      | frozen-instances    | mitigate.restart  |
